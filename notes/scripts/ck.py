import torch,warnings; from torch import nn; from torch.utils.checkpoint import checkpoint,checkpoint_sequential
torch.set_num_threads(1); warnings.simplefilter('ignore'); torch.manual_seed(0)
bn=nn.BatchNorm1d(3,momentum=.1); x=torch.randn(4,3)+5
for re in (True,False):
    b=nn.BatchNorm1d(3); xx=x.clone().requires_grad_(); checkpoint(b,xx,use_reentrant=re).sum().backward(); print('BN',re,b.num_batches_tracked.item(), (b.running_mean/x.mean(0)).tolist())
l=nn.Linear(3,2)
for re in (True,False):
    l.zero_grad()
    try: checkpoint(l,x,use_reentrant=re).sum().backward(); print('noreq',re,l.weight.grad is None)
    except Exception as e: print('noreq',re,type(e).__name__,str(e)[:100])
l2=nn.Sequential(nn.Linear(3,3),nn.Linear(3,2)); l2.zero_grad()
(l2[1](checkpoint(l2[0],x,use_reentrant=True))).sum().backward(); print('first frozen input reentrant:',l2[0].weight.grad, l2[1].weight.grad is not None)
n=[0]
def f(v):
    n[0]+=1; return torch.sin(v) if n[0]==1 else torch.sin(v[:2])
try: checkpoint(f,x.clone().requires_grad_(),use_reentrant=False).sum().backward()
except Exception as e: print(type(e).__name__,str(e)[:330])
n=[0]
def f2(v):
    n[0]+=1; y=torch.sin(v); return torch.cos(y) if n[0]==1 else y
try: checkpoint(f2,x.clone().requires_grad_(),use_reentrant=False,early_stop=False).sum().backward(); print('f2 no error')
except Exception as e: print(type(e).__name__,str(e)[:200])
# value changes, same shape: silent
n=[0]
def f3(v):
    n[0]+=1; return (v*n[0]).sin()
v=x.clone().requires_grad_(); checkpoint(f3,v,use_reentrant=False).sum().backward(); print('value drift silent',torch.equal(v.grad,x.cos()),)
# dropout rng
d=nn.Dropout(.5)
for pr in (True,False):
    torch.manual_seed(3); v=torch.ones(1000,requires_grad=True); y=checkpoint(lambda t:d(t)*1.,v,use_reentrant=True,preserve_rng_state=pr); y.sum().backward(); print('drop',pr,'mask equal share',((y.detach()>0)==(v.grad>0)).float().mean().item())
# no segment/ one segment
class C:
    pass
calls=[0]
class L(nn.Module):
    def __init__(s): super().__init__(); s.w=nn.Linear(2,2)
    def forward(s,x): calls[0]+=1; return s.w(x)
for n_,k in ((7,3),(10,4),(4,1),(3,4)):
    calls[0]=0; net=nn.Sequential(*[L() for _ in range(n_)])
    try: checkpoint_sequential(net,k,torch.ones(1,2,requires_grad=True),use_reentrant=False).sum().backward(); print('seq',n_,k,'layer forwards',calls[0])
    except Exception as e: print('seq',n_,k,type(e).__name__,e)
try:
    with warnings.catch_warnings(record=True) as w:
        warnings.simplefilter('always'); checkpoint(l,x.requires_grad_()); print([str(a.message)[:90] for a in w])
except Exception as e: print(e)
