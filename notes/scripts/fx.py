import torch,warnings; warnings.simplefilter('ignore'); torch.set_num_threads(1)
from torch.nn.attention.flex_attention import flex_attention,create_block_mask
doc=torch.tensor([0]*3+[1]*5)
m=create_block_mask(lambda b,h,q,k:(q>=k)&(doc[q]==doc[k]),None,None,8,8,device='cpu')
q=torch.randn(1,1,8,16,requires_grad=True); k=torch.randn(1,1,8,16); v=torch.randn(1,1,8,16)
try:
    o=flex_attention(q,k,v,block_mask=m); ref=torch.nn.functional.scaled_dot_product_attention(q,k,v,attn_mask=((torch.arange(8)[:,None]>=torch.arange(8))&(doc[:,None]==doc))); print('flex eager cpu ok',float((o-ref).abs().max())); o.sum().backward(); print('bwd ok')
except Exception as e: print(type(e).__name__,str(e)[:200])
