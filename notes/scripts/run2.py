import os,sys,warnings
os.environ.setdefault("OMP_NUM_THREADS","1")
import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
torch.set_num_threads(1); warnings.simplefilter('ignore')
def d(rank,w):
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe
    torch.manual_seed(0); full=nn.Sequential(nn.Linear(3,3),nn.Linear(3,3)).double()
    X=torch.randn(8,3).double(); Y=torch.randn(8,3).double()
    loss=lambda o,t: (o-t).square().mean()
    loss(full(X),Y).backward(); ref=full[rank].weight.grad.clone()
    for cls in (ScheduleGPipe,Schedule1F1B):
        m=nn.Linear(3,3).double(); m.load_state_dict(full[rank].state_dict())
        st=PipelineStage(m,rank,w,torch.device('cpu'))
        s=cls(st,4,loss_fn=loss)
        g=[]
        for k in range(2):
            if rank==0: s.step(X)
            else: s.step(target=Y,losses=[])
            g.append(m.weight.grad.clone())
        print(rank,cls.__name__,'1 step/ref',(g[0]/ref).mean().item(),'2 steps/ref',(g[1]/ref).mean().item(),flush=True)
    try: Schedule1F1B(st,1,loss_fn=loss)
    except Exception as e: print(rank,type(e).__name__,' '.join(str(e).split()),flush=True)
def e(rank,w):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import parallelize_module,ColwiseParallel,RowwiseParallel,loss_parallel
    from torch.distributed.tensor.debug import CommDebugMode
    mesh=init_device_mesh('cpu',(w,))
    for hid in (6,):
        torch.manual_seed(0); m=nn.Sequential(nn.Linear(4,hid),nn.GELU(),nn.Linear(hid,4)).double(); x=torch.randn(2,4).double().requires_grad_()
        r=m(x); r.sum().backward(); gx=x.grad.clone(); gb=m[2].bias.grad.clone(); x.grad=None; m.zero_grad()
        try:
            parallelize_module(m,mesh,{'0':ColwiseParallel(),'2':RowwiseParallel()})
            with CommDebugMode() as c: o=m(x); f=dict(c.get_comm_counts())
            with CommDebugMode() as c2: o.sum().backward()
            print(rank,hid,'fwd',{str(k)[-30:]:v for k,v in f.items()},'bwd',{str(k)[-30:]:v for k,v in c2.get_comm_counts().items()},'out',float((o-r).abs().max()),'gx',float((x.grad-gx).abs().max()),'bias grad',float((m[2].bias.grad.to_local()-gb).abs().max()),flush=True)
        except Exception as ex: print(rank,hid,type(ex).__name__,str(ex)[:200],flush=True)
def f(rank,w):
    import torch.distributed.checkpoint as dcp, copy
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.checkpoint.state_dict import get_state_dict,set_state_dict,get_model_state_dict
    m=nn.Linear(3,5); fully_shard(m)
    sd={'m':get_model_state_dict(m)}
    dcp.save(sd,checkpoint_id='scratch/ck')
    if rank==0: print(sorted(os.listdir('scratch/ck')),flush=True)
    dist.barrier()
    try:
        sd2={'m':get_model_state_dict(m),'step':torch.tensor(0)}
        dcp.load(sd2,checkpoint_id='scratch/ck')
    except BaseException as ex: print(rank,type(ex).__name__,str(ex).strip().splitlines()[-1][:200],flush=True)
    dist.barrier()
    m2=nn.Linear(4,5); fully_shard(m2)
    try: dcp.load({'m':get_model_state_dict(m2)},checkpoint_id='scratch/ck'); print(rank,'other shape: silent')
    except BaseException as ex: print(rank,type(ex).__name__,str(ex).strip().splitlines()[-1][:250],flush=True)
    # async cpu
    t={'w':torch.ones(1000)}
    fu=dcp.async_save(t,checkpoint_id='scratch/ck2',process_group=dist.group.WORLD)
    t['w'].fill_(7.)
    fu.result(); z={'w':torch.zeros(1000)}; dcp.load(z,checkpoint_id='scratch/ck2'); print(rank,'async saved',z['w'][0].item(),flush=True)
def g(rank,w):
    from torch.distributed.fsdp import fully_shard
    from torch.nn.utils import get_total_norm, clip_grad_norm_
    m=nn.Linear(3,4,bias=False); fully_shard(m); m(torch.arange(6.).view(2,3)).sum().backward()
    for fe in (None,False,True):
        n=get_total_norm([m.weight.grad],foreach=fe); print(rank,fe,n.placements,float(n.to_local()),float(n.full_tensor()),flush=True)
def main(rank,w,name,path):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w)
    try: globals()[name](rank,w)
    finally: dist.destroy_process_group()
if __name__=='__main__':
    name=sys.argv[1]; w=2
    p='scratch/store_'+name
    if os.path.exists(p): os.remove(p)
    ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,w,name,p)) for r in range(w)]
    [q.start() for q in ps]; [q.join(60) for q in ps]
    for q in ps:
        if q.is_alive(): print('HANG',q.pid); q.kill()
