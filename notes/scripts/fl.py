exec(open('act.py').read().split("sbh=s*b*h")[0])
from torch.utils.flop_counter import FlopCounterMode
from torch.utils.checkpoint import set_checkpoint_early_stop
import contextlib
def flops(mode,early=True):
    torch.manual_seed(0); m=L(.0); x=torch.randn(b,s,h,requires_grad=True)
    with FlopCounterMode(display=False) as f, set_checkpoint_early_stop(early):
        y=checkpoint(m,x,use_reentrant=False) if mode=='full' else checkpoint(m,x,use_reentrant=True) if mode=='re' else m(x,mode=='sel')
        fw=f.get_total_flops(); y.sum().backward()
    return fw,f.get_total_flops()
FF=24*b*s*h*h+4*b*s*s*h
for md,e in(('none',True),('full',True),('full',False),('re',True),('sel',True),('sel',False)): fw,t=flops(md,e); print(md,e,'fwd/F',fw/FF,'total/F',t/FF,'extra',t-3*FF,'8bsh2',8*b*s*h*h,'4bs2h',4*b*s*s*h,'2bs2h',2*b*s*s*h)
