"""Which learning rate, with a network small enough for a CPU: MobileNetV2, two epochs, three seeds.

Run:     python tools/sweep.py configs/sweeps/mobilenet_v2_learning_rate.py --jobs 2
Expect:  see configs/README.md, "Sweeps on real photos".
"""

base = 'configs/mobilenet_v2_flower.py'
grid = {'optim_wrapper.optimizer.lr': [0.001, 0.0003, 0.0001]}
seeds = [0, 1, 2]
overrides = {'train_cfg.max_epochs': 2}
