import hashlib, torch
from bench.pretraining.loop import Pretraining
def h(x): return hashlib.sha256(x.numpy().tobytes()).hexdigest()[:10]
def test_a(make_spec, corpus):
    print("RB torch.initial_seed", torch.initial_seed(), "state", h(torch.get_rng_state()))
    for seed in (None, 0, 1):
        if seed is not None: torch.manual_seed(seed)
        run=Pretraining(*make_spec("replaced_token",budget="2048"),corpus,"cpu")
        b=run.head.out.bias.detach()
        print("RB bias with global seed",seed,h(b),b.tolist())
        if seed == 0:
            run.train(lambda p:None,lambda:None)
            m=hashlib.sha256()
            for mod in (run.encoder,run.head):
                for k,v in mod.state_dict().items(): m.update(k.encode()+v.numpy().tobytes())
            print("RB TRAINED", m.hexdigest()[:16], repr(run.curve[-1]["validation_loss"]))
