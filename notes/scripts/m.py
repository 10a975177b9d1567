import math
for s in (.7,.75,.8,.85): print('14x8',s,round(1-(1-s**8)**14,4),'20x5',round(1-(1-s**5)**20,4),'9x13',round(1-(1-s**13)**9,4),'450x20',round(1-(1-s**20)**450,4))
M=54*86400/419; print('MTBF s',M,'Young 60s',math.sqrt(2*60*M),'loss share',60/math.sqrt(2*60*M)+math.sqrt(2*60*M)/2/M)
print('1T 14B',14*1.008e12/1e12, 13.8e12/1.008e12, 13.8e12/1e12)
for K,Mb in((8,32),(4,16),(16,64)): print('GPipe M=4K',K,(K-1)/(Mb+K-1))
print('double gelu'); 
import torch; torch.set_num_threads(1)
x=torch.arange(1.,9).view(2,4); W=torch.arange(1.,13).view(3,4); b=torch.tensor([100.,200,300]); print(torch.nn.functional.linear(x,W,b), sum(torch.nn.functional.linear(x[:,i:i+2],W[:,i:i+2],b) for i in(0,2)))
# vocab CE partial: V=8
torch.manual_seed(0); z=torch.randn(3,8,dtype=torch.float64); t=torch.tensor([1,5,7]); print('ce',torch.nn.functional.cross_entropy(z,t).item(),'ln2',math.log(2))
# modulo bug
print('MinHash mod', len({(7112*x+13067)%24000 for x in range(1,24001)}), len({(7112*x+13067)%24001 for x in range(1,24001)}))
# packing loss weighting
print('2 docs 7 and 2: per-doc weights of y', 1/4, 1/9)
# bf16 adam
import torch
w=torch.ones(4,dtype=torch.bfloat16); w2=w-torch.tensor(6e-4,dtype=torch.bfloat16)*1; print('bf16 1-6e-4 =',w2[0].item(), 'threshold', 2**-9)
# TP replicated norm
for tp,f in((2,.1),(8,.1),(8,.01)): print('norm ratio',tp,f,math.sqrt(1+(tp-1)*f))
# reduction order
a=torch.tensor([1e8,1.,-1e8],dtype=torch.float32); print((a[0]+a[1])+a[2], a[0]+(a[1]+a[2]), (a[0]+a[2])+a[1])
# XOR hash parity
# DS memory
E=16
for N in(1,2,8): print('ds z2 GB/1B',4+16/N,'paper', 2+14/N)
# Megatron bytes: 18 -> dist opt 6+12/d
for d in(1,8,64): print('megatron', 6+12/d)
# chin: one sample for different
