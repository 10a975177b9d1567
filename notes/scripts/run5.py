import os,sys,warnings
os.environ.setdefault("OMP_NUM_THREADS","1")
import torch, torch.distributed as dist, torch.multiprocessing as mp, math
from torch import nn
import torch.nn.functional as F
torch.set_num_threads(1); warnings.simplefilter('ignore')
from torch.utils._python_dispatch import TorchDispatchMode
class C(TorchDispatchMode):
    def __init__(s): super().__init__(); s.n=[]
    def __torch_dispatch__(s,f,t,a=(),k=None):
        if 'c10d' in str(f) and 'wait' not in str(f): s.n.append(str(f).split('.')[1])
        return f(*a,**(k or {}))
def h(rank,w):
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard,Replicate,distribute_tensor
    from torch.distributed.tensor.parallel import parallelize_module,ColwiseParallel,RowwiseParallel,SequenceParallel,loss_parallel
    mesh=init_device_mesh('cpu',(w,))
    torch.manual_seed(0)
    class M(nn.Module):
        def __init__(s): super().__init__(); s.ln=nn.LayerNorm(4); s.a=nn.Linear(4,6); s.b=nn.Linear(6,4)
        def forward(s,x): return s.b(F.gelu(s.a(s.ln(x))))
    m=M().double(); x=torch.randn(2,4,4).double()
    r=m(x); (r*torch.arange(4.).double()[None,:,None]).sum().backward(); ref={n:p.grad.clone() for n,p in m.named_parameters()}; m.zero_grad()
    parallelize_module(m,mesh,{'ln':SequenceParallel(),'a':ColwiseParallel(input_layouts=Shard(1)),'b':RowwiseParallel(output_layouts=Shard(1),use_local_output=False)})
    xs=distribute_tensor(x,mesh,[Shard(1)])
    with C() as c: o=m(xs)
    with C() as c2: (o.full_tensor()*torch.arange(4.).double()[None,:,None]).sum().backward()
    g=m.ln.weight.grad
    print(rank,'SP fwd',c.n,'bwd(+full_tensor)',c2.n,'LN grad placements',g.placements,'full equals',torch.allclose(g.full_tensor(),ref['ln.weight']),'local-err',float((g.to_local()-ref['ln.weight']).abs().max()),flush=True)
    z=torch.arange(8.).double()[None].requires_grad_(); t=torch.tensor([2])
    d=distribute_tensor(torch.arange(8.).double()[None],mesh,[Shard(1)]).requires_grad_()
    with loss_parallel(), C() as c3:
        l=F.cross_entropy(d,t); 
        l.backward()
    F.cross_entropy(z,t).backward()
    print(rank,'loss_parallel',l.to_local().item(),F.cross_entropy(z,t).item(),c3.n,torch.allclose(d.grad.full_tensor(),z.grad),flush=True)
    try:
        with loss_parallel(): print(F.cross_entropy(d,t,label_smoothing=.1))
    except Exception as e: print(rank,type(e).__name__,str(e)[:160],flush=True)
    for n in (65,50257,5):
        dd=distribute_tensor(torch.zeros(n),mesh,[Shard(0)]); print(rank,n,dd.to_local().shape[0],flush=True)
def i(rank,w):
    from torch.distributed.fsdp import fully_shard
    for force in (False,True):
        torch.manual_seed(0); m=nn.Linear(3,2,bias=False); fully_shard(m); m.set_gradient_divide_factor(1.0)
        if force: m.set_force_sum_reduction_for_comms(True)
        try: m(torch.ones(1,3)*(rank+1)).sum().backward(); print(rank,force,m.weight.grad.to_local().flatten().tolist(),flush=True)
        except Exception as e: print(rank,force,type(e).__name__,str(e)[:200],flush=True)
def main(rank,w,path,name):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w)
    try: globals()[name](rank,w)
    finally: dist.destroy_process_group()
for name in 'hi':
    p='scratch/store_5'+name
    if os.path.exists(p): os.remove(p)
    ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,2,p,name)) for r in range(2)]
    [q.start() for q in ps]; [q.join(60) for q in ps]
    [q.kill() for q in ps if q.is_alive()]
z=torch.arange(8.).double()[None]; t=torch.tensor([2]); lse=torch.logsumexp(z,1).item(); print('CE',F.cross_entropy(z,t).item(),'smooth .1',F.cross_entropy(z,t,label_smoothing=.1).item(),'local means', .9*(lse-2)+.1*(lse-1.5), .9*(lse-2)+.1*(lse-5.5),'ln2 shift',lse-2+math.log(2), 'pad', math.log(51200/50257), math.log(50304/50257))
