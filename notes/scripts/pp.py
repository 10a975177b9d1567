import torch,warnings; warnings.simplefilter('ignore'); import torch.distributed as dist; from torch import nn
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.distributed.pipelining import PipelineStage
from torch.distributed.pipelining.schedules import *
from torch.distributed.pipelining import schedules as S
import logging; logging.disable(50)
torch.set_num_threads(1)
p=4; dist.init_process_group('fake',store=FakeStore(),rank=0,world_size=p)
def order(name,m,v=1):
    cls=get_schedule_class(name)
    if v==1: return cls(PipelineStage(nn.Linear(1,1),0,p,torch.device('cpu')),m,loss_fn=lambda a,b:a.sum()).pipeline_order
    idx=[i*p for i in range(v)] if name not in('ZBVZeroBubble','DualPipeV') else [0,2*p-1]
    return cls([PipelineStage(nn.Linear(1,1),i,p*v,torch.device('cpu')) for i in idx],m,loss_fn=lambda a,b:a.sum()).pipeline_order
def sim(o,v,cost):
    n=p*v; done={}; t=[0.]*p; q={r:[a for a in o[r] if a is not None and str(a.computation_type) not in('RESHARD','REDUCE_GRAD','UNSHARD') and a.computation_type not in (S.REDUCE_GRAD,)] for r in o}; pos={r:0 for r in o}; idle=0; peak={r:0 for r in o}; live={r:0 for r in o}
    progress=True
    while progress:
        progress=False
        for r in q:
            while pos[r]<len(q[r]):
                a=q[r][pos[r]]; subs=a.sub_actions or [a]
                ready=0; ok=True
                for u in subs:
                    s,c,b=u.stage_index,u.computation_type,u.microbatch_index
                    deps=[]
                    if c==S.F and s>0: deps=[(s-1,'F',b)]
                    if c in(S.B,S.I): deps=[(s,'F',b)]+([(s+1,'B',b)] if s<n-1 else [])
                    if c==S.W: deps=[(s,'B',b)]
                    for d in deps:
                        if d not in done: ok=False
                        else: ready=max(ready,done[d])
                if not ok: break
                st=max(t[r],ready); e=st+sum(cost[u.computation_type.name] for u in subs)
                for u in subs:
                    c=u.computation_type
                    if c==S.F: live[r]+=1
                    if c in (S.B,S.W): live[r]-=1
                    peak[r]=max(peak[r],live[r])
                    done[(u.stage_index,'F' if c==S.F else 'B' if c in(S.B,S.I) else 'W',u.microbatch_index)]=e
                t[r]=e; pos[r]+=1; progress=True
    assert all(pos[r]==len(q[r]) for r in q),pos
    return max(t),peak
c={'FORWARD':1,'FULL_BACKWARD':2,'BACKWARD_INPUT':1,'BACKWARD_WEIGHT':1}
for name,v in ():
    for m in (8,16):
        try:
            o=order(name,m,v); T,pk=sim(o,v,c); ideal=3*m*v
            print(name,'v',v,'m',m,'makespan',T,'ideal',ideal,'bubble/ideal',round(T/ideal-1,4),'(p-1)/(vm)',round((p-1)/(v*m),4),'peak',list(pk.values()))
        except Exception as e: print(name,m,type(e).__name__,str(e)[:200])
for pp_,m in ((4,4),):
    o=order('1F1B',m)
    for r in o: print(r,[str(a) if a is not None else '-' for a in o[r]])
o=order('ZBVZeroBubble',8,2); print({r:[str(a) for a in o[r] if a is not None][:14] for r in (0,3)})
o=order('Interleaved1F1B',8,2); print([str(a) if a is not None else '-' for a in o[0]])
try: order('Interleaved1F1B',9,2); print('9 ok')
except Exception as e: print(type(e).__name__,e)
try: order('Interleaved1F1B',10,2); print('10 ok')
except Exception as e: print(type(e).__name__,e)
