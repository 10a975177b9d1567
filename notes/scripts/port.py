import socket,torch.distributed as dist,time,warnings; warnings.simplefilter('ignore')
from datetime import timedelta
s=socket.socket(); s.bind(('127.0.0.1',0)); s.listen(); p=s.getsockname()[1]
t=time.time()
try: dist.init_process_group('gloo',init_method=f'tcp://127.0.0.1:{p}',rank=0,world_size=1,timeout=timedelta(seconds=5))
except BaseException as e: print('%.1fs'%(time.time()-t),type(e).__name__,str(e)[:260])
t=time.time()
s2=socket.socket(); s2.bind(('127.0.0.1',0)); q=s2.getsockname()[1]; s2.close()
try: dist.init_process_group('gloo',init_method=f'tcp://127.0.0.1:{q}',rank=0,world_size=2,timeout=timedelta(seconds=4))
except BaseException as e: print('missing rank %.1fs'%(time.time()-t),type(e).__name__,str(e)[:260])
