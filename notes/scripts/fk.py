import torch,warnings,logging; warnings.simplefilter('ignore'); logging.disable(50); import torch.distributed as dist; from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor.debug import CommDebugMode
from torch.utils._python_dispatch import TorchDispatchMode
torch.set_num_threads(1)
dist.init_process_group('fake',store=FakeStore(),rank=0,world_size=1024)
m=nn.Sequential(*[nn.Linear(64,64) for _ in range(3)])
for l in m: fully_shard(l)
fully_shard(m)
class C(TorchDispatchMode):
    def __init__(s): super().__init__(); s.n=[]
    def __torch_dispatch__(s,f,t,a=(),k=None):
        if 'c10d' in str(f): s.n.append((str(f),[tuple(x.shape) for x in a if isinstance(x,torch.Tensor)]))
        return f(*a,**(k or {}))
with C() as c: m(torch.randn(2,64)).sum().backward()
for x in c.n: print(x)
print('psi/layer',64*64+64,[tuple(p.to_local().shape) for p in m[0].parameters()], 'rank1023 would be empty')
ddp=nn.parallel.DistributedDataParallel(nn.Linear(3,3))
with C() as c2: ddp(torch.ones(1,3)).sum().backward()
print('ddp seen by dispatch mode:',c2.n)
