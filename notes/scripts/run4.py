from run2 import *
import os,torch,torch.distributed as dist,torch.multiprocessing as mp
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
class C(TorchDispatchMode):
    def __init__(s): super().__init__(); s.n=[]
    def __torch_dispatch__(s,f,t,a=(),k=None):
        if 'c10d' in str(f): s.n.append(str(f))
        return f(*a,**(k or {}))
def h(rank,w):
    m=nn.parallel.DistributedDataParallel(nn.Linear(3,3))
    for _ in range(2):
        with C() as c: m(torch.ones(1,3)).sum().backward()
        print(rank,'ddp seen',c.n,flush=True)
    from torch.distributed.tensor import DTensor
    from torch.distributed.fsdp import fully_shard
    # zero1: two microbatches
    from torch.distributed.tensor.debug import CommDebugMode
    for z1 in (0,1):
        torch.manual_seed(0); m=nn.Sequential(nn.Linear(4,4),nn.Linear(4,4))
        for l in m: fully_shard(l,reshard_after_forward=False if z1 else True)
        fully_shard(m)
        with C() as c:
            for k in range(2):
                if z1: m.set_requires_gradient_sync(k==1); m.set_reshard_after_backward(k==1)
                m(torch.ones(1,4)).sum().backward()
        print(rank,'zero1' if z1 else 'zero3',{k:c.n.count(k) for k in set(c.n)},flush=True)
def main(rank,w,name,path):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w)
    try: h(rank,w)
    finally: dist.destroy_process_group()
name="h"; p="scratch/store_h4"
if os.path.exists(p): os.remove(p)
ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,2,name,p)) for r in range(2)]
[q.start() for q in ps]; [q.join(60) for q in ps]
