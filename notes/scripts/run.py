import os,sys,warnings
os.environ.setdefault("OMP_NUM_THREADS","1")
import torch, torch.distributed as dist, torch.multiprocessing as mp
from torch import nn
torch.set_num_threads(1)
def a(rank,w):
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor.debug import CommDebugMode
    torch.manual_seed(0)
    m=nn.Sequential(nn.Linear(5,7),nn.Linear(7,1),nn.Linear(1,3)).double()
    ref=[p.detach().clone() for p in m.parameters()]
    for l in m: fully_shard(l)
    fully_shard(m)
    torch.manual_seed(1+rank)
    x=torch.randn(4,5).double()
    try:
        with CommDebugMode() as c:
            m(x).square().mean().backward()
        out={str(k):v for k,v in c.get_comm_counts().items()}
    except Exception as e: out=repr(e)[:300]
    n=torch.nn.utils.clip_grad_norm_(m.parameters(),1e9)
    print(rank,'comm',out,'type',type(n).__name__,getattr(n,'placements',None),'local',float(n.to_local()),'full',float(n.full_tensor()), [tuple(p.to_local().shape) for p in m.parameters()],flush=True)
def b(rank,w):
    import torch.distributed.nn as dn
    x=torch.tensor([1.+rank],requires_grad=True)
    y=dn.all_reduce(x); y.sum().backward(); print(rank,'dist.nn.all_reduce grad',x.grad.item(),flush=True)
    x2=torch.tensor([1.+rank],requires_grad=True)
    try:
        with warnings.catch_warnings(record=True) as ws:
            warnings.simplefilter('always')
            z=x2*1.; dist.all_reduce(z); z.sum().backward(); print(rank,'dist.all_reduce grad',x2.grad.item(), [str(w_.message)[:120] for w_ in ws],flush=True)
    except Exception as e: print(rank,'ERR',repr(e)[:300],flush=True)
    from torch.distributed._functional_collectives import all_reduce
    x3=torch.tensor([1.+rank],requires_grad=True)
    try: 
        z=all_reduce(x3,'sum',list(range(w))); z.sum().backward(); print(rank,'funcol',x3.grad,flush=True)
    except Exception as e: print(rank,'ERRf',repr(e)[:300],flush=True)
def c(rank,w):
    from torch.distributed.fsdp import fully_shard
    m=nn.Module(); 
    class T(nn.Module):
        def __init__(s):
            super().__init__(); s.e=nn.Embedding(11,4); s.h=nn.Linear(4,11,bias=False); s.h.weight=s.e.weight
        def forward(s,i): return s.h(s.e(i))
    t=T(); 
    try:
        fully_shard(t.e); fully_shard(t.h); fully_shard(t); print(rank,'tied at wrap ok', t.h.weight is t.e.weight,flush=True); t(torch.tensor([[1,2]])).sum().backward(); print(rank,'fwd ok')
    except Exception as e: print(rank,type(e).__name__,str(e)[:400],flush=True)
    t=T(); fully_shard([t.e,t.h]); fully_shard(t); t(torch.tensor([[1,2]])).sum().backward(); print(rank,'grouped ok',t.h.weight is t.e.weight,tuple(t.e.weight.to_local().shape),flush=True)
    # optimizer before
    m=nn.Linear(3,4); o=torch.optim.SGD(m.parameters(),lr=1.); before=m.weight.detach().clone(); fully_shard(m)
    m(torch.ones(2,3)).sum().backward(); o.step(); print(rank,'opt before wrap: moved',not torch.equal(m.weight.full_tensor(),before),flush=True)
def main(rank,w,name,path):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w)
    try: globals()[name](rank,w)
    finally: dist.destroy_process_group()
if __name__=='__main__':
    name=sys.argv[1]; w=int(sys.argv[2]) if len(sys.argv)>2 else 2
    p='scratch/store_'+name
    if os.path.exists(p): os.remove(p)
    ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,w,name,p)) for r in range(w)]
    [q.start() for q in ps]; [q.join(90) for q in ps]
    for q in ps:
        if q.is_alive(): print('HANG',q.pid); q.kill()
