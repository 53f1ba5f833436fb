"""Which learning rate: report A's table 2, with three seeds.

Run:     python tools/sweep.py configs/sweeps/learning_rate.py
Expect:  the report's single runs on 568 photos: 95.60, 96.13 and 95.07 % top-1.
"""

base = 'configs/resnet50_flower.py'
grid = {'optim_wrapper.optimizer.lr': [0.01, 0.001, 0.0001]}
seeds = [0, 1, 2]
