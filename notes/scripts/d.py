import math
def opt(E,A,B,a,b,C):
    G=(a*A/(b*B))**(1/(a+b)); return G*(C/6)**(b/(a+b)), (C/6)**(a/(a+b))/G
for C in (1e13,1e14,1e15,1e16,1e18,5.76e23):
    r=[opt(*p,C) for p in((1.69,406.4,410.7,.34,.28),(1.8172,482.01,2085.43,.3478,.3658))]
    print(C,['N %.3g D %.3g D/N %.1f'%(n,d,d/n) for n,d in r])
# crossing of N_opt
import math
lo,hi=1e10,1e25
f=lambda C: opt(1.69,406.4,410.7,.34,.28,C)[0]-opt(1.8172,482.01,2085.43,.3478,.3658,C)[0]
for _ in range(200):
    m=math.sqrt(lo*hi)
    if f(lo)*f(m)<=0: hi=m
    else: lo=m
print('cross',lo)
# naive .6 claims
print('0.6,0.6 ->ratio 1')
# exact unrounded approach 3 exponents? a=.46
p=(1.69,406.4,410.7,.34,.28); print('a',p[4]/(p[3]+p[4]), .3658/(.3478+.3658))
# repeated doc weight
print('marginal value: epoch e', [round(math.exp(-(e-1)/15.387756),3) for e in(2,5,16,17,40)])
# cut prob
for l,L in((100,256),(1000,2048)): print('cut',(l-1)/L)
import random
random.seed(0); 
# simulate uniform 100-token docs in 256 blocks
print(sum(1 for i in range(25600) if (i*100)//256!=(i*100+99)//256)/25600)
# bloom FP
# interleave expected
import math
print('val leak',2000/2000)
# expected max Jaccard estimate sd
print('sd minhash 128 at .5',math.sqrt(.25/128), 'at .8',math.sqrt(.16/128),'112 at .75',math.sqrt(.1875/112))
import torch
