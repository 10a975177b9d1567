import torch; from torch import nn; import torch.nn.functional as F
torch.set_num_threads(1)
from torch.utils.checkpoint import checkpoint
s,b,h,a=8,2,12,3
class L(nn.Module):
    def __init__(self,p):
        super().__init__(); self.p=p; self.l1=nn.LayerNorm(h); self.l2=nn.LayerNorm(h); self.qkv=nn.Linear(h,3*h); self.o=nn.Linear(h,h); self.u=nn.Linear(h,4*h); self.d=nn.Linear(4*h,h)
    def core(self,q,k,v):
        w=F.dropout((q@k.transpose(-1,-2)).softmax(-1),self.p); return w@v
    def forward(self,x,sel=False):
        q,k,v=(t.view(b,s,a,h//a).transpose(1,2) for t in self.qkv(self.l1(x)).chunk(3,-1))
        q=q*(h//a)**-.5
        y=(checkpoint(self.core,q,k,v,use_reentrant=False) if sel else self.core(q,k,v)).transpose(1,2).reshape(b,s,h)
        x=x+F.dropout(self.o(y),self.p)
        return x+F.dropout(self.d(F.gelu(self.u(self.l2(x)))),self.p)
def count(p,sel=False,full=False,dt=torch.float32):
    m=L(p).to(dt); own={q.untyped_storage().data_ptr() for q in m.parameters()}; seen={}; lst=[]
    def pack(t):
        ptr=t.untyped_storage().data_ptr()
        if ptr not in own: seen[ptr]=t.untyped_storage().nbytes(); lst.append((tuple(t.shape),t.dtype))
        keep.append(t); return t
    keep=[]
    x=torch.randn(b,s,h,dtype=dt,requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack,lambda t:t):
        y=checkpoint(m,x,use_reentrant=False) if full else m(x,sel)
    return sum(seen.values()),lst
sbh=s*b*h; as2b=a*s*s*b
for p in(.1,0.):
    for kw in({},{'sel':True},{'full':True}):
        n,l=count(p,**kw); print(p,kw,n,'/sbh',n/sbh,'as2b/sbh',as2b/sbh)
n,l=count(.1); print(l)
