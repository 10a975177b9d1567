import os,shutil,warnings; os.environ["OMP_NUM_THREADS"]="1"
import torch, torch.distributed as dist, torch.multiprocessing as mp; torch.set_num_threads(1); warnings.simplefilter('ignore')
import torch.distributed.checkpoint as dcp
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import distribute_tensor,Shard
def main(rank,w,path,phase):
    dist.init_process_group('gloo',init_method='file://'+path,rank=rank,world_size=w)
    mesh=init_device_mesh('cpu',(w,))
    def d(v): return {'w':distribute_tensor(torch.full((5,2),v),mesh,[Shard(0)])}
    if phase=='save':
        for v,f in((1.,'A'),(2.,'B')): dcp.save(d(v),checkpoint_id='scratch/'+f)
        dist.barrier()
        if rank==0: shutil.copy('scratch/B/__0_0.distcp','scratch/A/__0_0.distcp')
        dist.barrier(); z=d(0.); dcp.load(z,checkpoint_id='scratch/A'); full=z['w'].full_tensor()
        if rank==0: print('mixed load:',full[:,0].tolist(),flush=True)
    else:
        z=d(0.); dcp.load(z,checkpoint_id='scratch/B'); full=z['w'].full_tensor()
        if rank==0: print('2 ->',w,'reshard',tuple(z['w'].to_local().shape),full[:,0].tolist(),flush=True)
        s={'w':z['w'],'x':torch.tensor(0.)}
        # flip a byte
        if rank==0:
            b=bytearray(open('scratch/B/__0_0.distcp','rb').read()); i=b.find(bytes(bytearray([0,0,0,64,0,0,0,64]))); b[i+2]^=1; open('scratch/B/__0_0.distcp','wb').write(b); print('flip at',i)
        dist.barrier(); z=d(0.)
        try: dcp.load(z,checkpoint_id='scratch/B'); f=z['w'].full_tensor(); rank or print('after flip loaded silently',f.flatten().tolist(),flush=True)
        except BaseException as e: print(rank,type(e).__name__,str(e).splitlines()[-1][:200],flush=True)
    dist.destroy_process_group()
for f in 'AB': shutil.rmtree('scratch/'+f,ignore_errors=True)
for w,ph in((2,'save'),(3,'load')):
    p='scratch/store_d'+ph
    if os.path.exists(p): os.remove(p)
    ctx=mp.get_context('fork'); ps=[ctx.Process(target=main,args=(r,w,p,ph)) for r in range(w)]
    [q.start() for q in ps]; [q.join(60) for q in ps]; [q.kill() for q in ps if q.is_alive()]
