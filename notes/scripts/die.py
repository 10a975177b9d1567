import os,sys,time,signal,warnings; os.environ["OMP_NUM_THREADS"]="1"
import torch, torch.distributed as dist, torch.multiprocessing as mp; torch.set_num_threads(1); warnings.simplefilter('ignore')
from datetime import timedelta
def main(rank,w,path,what):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w,timeout=timedelta(seconds=6))
    dist.barrier(); t=time.time()
    try:
        if what=='exit' and rank==1: os._exit(9)
        if what=='stop' and rank==1: time.sleep(20); os._exit(0)
        if what=='mon' and rank==1: time.sleep(20); os._exit(0)
        if what=='monexit' and rank==1: os._exit(9)
        if what.startswith('mon'): dist.monitored_barrier(timeout=timedelta(seconds=3),wait_all_ranks=True)
        elif what=='shape': x=torch.ones(4+rank); dist.all_reduce(x); print(rank,'shape ->',x.tolist(),flush=True); return
        elif what=='dtype': x=torch.ones(4,dtype=[torch.float32,torch.float64,torch.float32][rank]); dist.all_reduce(x); print(rank,'dtype ->',x.tolist(),flush=True); return
        elif what=='agshape': o=[torch.zeros(4) for _ in range(w)]; dist.all_gather(o,torch.ones(4+ (rank==1))); print(rank,'ag',o,flush=True); return
        elif what=='order':
            x=torch.ones(2)
            if rank==1: dist.broadcast(x,0); dist.all_reduce(x)
            else: dist.all_reduce(x); dist.broadcast(x,0)
            print(rank,'order ->',x.tolist(),flush=True); return
        else: dist.all_reduce(torch.ones(4))
        print(rank,what,'ok?!',flush=True)
    except BaseException as e: print(rank,what,'%.1fs'%(time.time()-t),type(e).__name__,str(e).replace('\n',' ')[:210],flush=True)
    os._exit(0)
for what in sys.argv[1:]:
    p='scratch/store_x'+what
    if os.path.exists(p): os.remove(p)
    ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,3,p,what)) for r in range(3)]
    [q.start() for q in ps]; [q.join(25) for q in ps]; 
    for q in ps:
        if q.is_alive(): print('HANG',what); q.kill()
