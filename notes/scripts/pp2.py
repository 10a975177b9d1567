exec(open('pp.py').read().split("for name,v in ()")[0])
try:
    o=get_schedule_class('Interleaved1F1B')([PipelineStage(nn.Linear(1,1),0,4,torch.device('cpu'))],4,loss_fn=lambda a,b:a.sum()).pipeline_order
    for r in o: print(r,[str(a) for a in o[r] if a is not None])
    print(sim(o,1,c))
except Exception as e: print(type(e).__name__,e)
