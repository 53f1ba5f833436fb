"""How many stages to freeze, with a network small enough for a CPU: MobileNetV2, two epochs, three seeds.

Run:     python tools/sweep.py configs/sweeps/mobilenet_v2_frozen_stages.py --jobs 2
Expect:  see configs/README.md, "Sweeps on real photos".
"""

_base_ = ['./frozen_stages.py']
base = 'configs/mobilenet_v2_flower.py'
overrides = {'train_cfg.max_epochs': 2}
