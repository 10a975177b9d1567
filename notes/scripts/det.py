import torch
torch.manual_seed(0)
x=torch.randn(300,3000); w=torch.randn(3000,200)
def run(n):
    torch.set_num_threads(n); return x.sum(), (x.t()@x[:, :50]).sum(0), torch.nn.functional.linear(x,w.t())
a,b=run(1),run(2); print([torch.equal(i,j) for i,j in zip(a,b)], [float((i-j).abs().max()) for i,j in zip(a,b)])
a2=run(2); print('2 vs 2',[torch.equal(i,j) for i,j in zip(b,a2)])
# batch composition: same row in another batch
torch.set_num_threads(1)
print('row alone == row in batch', torch.equal((x@w)[:1], x[:1]@w), float(((x@w)[:1]-x[:1]@w).abs().max()))
# order: index_add cpu
# adam order mismatch same shapes
l1=torch.nn.ParameterList([torch.nn.Parameter(torch.zeros(2)),torch.nn.Parameter(torch.zeros(2))])
o=torch.optim.Adam(l1); l1[0].grad=torch.ones(2); l1[1].grad=-torch.ones(2); o.step(); sd=o.state_dict()
o2=torch.optim.Adam([l1[1],l1[0]]); o2.load_state_dict(sd); print('swapped silently', o2.state[l1[1]]['exp_avg'].tolist())
# XOR hash parity
print(hasattr(torch,'hash_tensor') and [torch.hash_tensor(torch.full((4,),v)).item() for v in (0.,1.,2.)])
# slice saves whole storage
import io
for t in (torch.zeros(1000,1000)[0], torch.zeros(1000,1000)[0].clone()):
    b=io.BytesIO(); torch.save(t,b); print('torch.save slice bytes',b.tell())
