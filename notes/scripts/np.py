import math
# minhash
for b,r,s in [(9,13,.8),(5,11,.8),(20,5,.8),(20,450,.8),(450,20,.8),(14,8,.8),(14,8,.7),(25,10,.8),(9,13,.578125)]:
    print('S',b,r,s, round(1-(1-s**r)**b,6), 'thr',round((1/b)**(1/r),4))
# Muennighoff
alpha=beta=.3526596;A=math.exp(6.255414);B=math.exp(7.3049974);E=math.exp(.6254804);RN=5.309743;RD=15.387756
G=((alpha*A)/(beta*B))**(1/(alpha+beta))
print('A,B,E,G',A,B,E,G)
for ep in [1,2,4,7,8,16,40,44,100]:
    R=ep-1; print('ep',ep,'D_eff/U', round(1+RD*(1-math.exp(-R/RD)),4), 'share', round((1+RD*(1-math.exp(-R/RD)))/ep,4), 'marg',round(math.exp(-R/RD),4))
N=8.7e9;D=178e9;U=D/7;Un=min(U*G*G if False else ((U*G)**(beta/alpha))*G,N);Rn=max(N/Un-1,0);Rd=D/U-1
L=E+A/(Un+RN*Un*(1-math.exp(-Rn/RN)))**alpha+B/(U+U*RD*(1-math.exp(-Rd/RD)))**beta
print('L',L, 'chin L unique', E+A/N**alpha+B/D**beta)
# Chinchilla
def opt(E,A,B,a,b,C):
    G=(a*A/(b*B))**(1/(a+b)); return G*(C/6)**(b/(a+b)), (C/6)**(a/(a+b))/G
for p in [(1.69,406.4,410.7,.34,.28),(1.8172,482.01,2085.43,.3478,.3658)]:
    for C in (1e18,5.76e23): 
        n,d=opt(*p,C); print(p,C,'N %.3e D %.3e D/N %.1f'%(n,d,d/n))
# ring/ pipeline
for p,m in [(4,8),(8,32),(8,64),(2,1),(4,4)]:
    print('pipe',p,m,'slots F=B=1',2*(m+p-1),'F1B2',3*(m+p-1),'(p-1)/m',(p-1)/m,'(p-1)/(m+p-1)',round((p-1)/(m+p-1),4))
# zero
for P in (7.5e9,128e9,1e12):
    print([ (round((4*P+12*P/N)/1e9,3), round((2*P+14*P/N)/1e9,3), round(16*P/N/1e9,3)) for N in (1,4,16,64,256,1024)])
# deepspeed estimators
print('ds z2', 4+16/8,'vs 2+14/N')
# korthikanti
for name,a,s,h,t,b,L in [('22B',64,2048,6144,8,4,48),('GPT3',96,2048,12288,8,1,96),('530B',128,2048,20480,8,1,105),('1T',160,2048,25600,8,1,128)]:
    sbh=s*b*h
    print(name,'5as/h',5*a*s/h,'none GB/layer',sbh*(34+5*a*s/h)/1e9,'tp',10+24/t+5*a*s/h/t,'tpsp',(34+5*a*s/h)/t,'sel+sp',34/t,'sel saves',5*a*s/h/(34+5*a*s/h),'full',2, 'L total none GiB', L*sbh*(34+5*a*s/h)/2**30)
# sqrt n
for n in (16,100,1024): print(n, 2*math.isqrt(n))
# Korthikanti flops 
for h,s in((12288,2048),(20480,2048)):
    x=s/(6*h); print('sel overhead of fwd',x/(1+x)); print('  of step', 4*s/(72*h+12*s))
# megatron bytes
b,s,h,t=1,2048,12288,8
print('8bsh(t-1)/t',8*b*s*h*(t-1)/t)
