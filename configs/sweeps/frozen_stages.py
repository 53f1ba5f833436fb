"""How many stages to freeze: report A's table 1, with three seeds.

Run:     python tools/sweep.py configs/sweeps/frozen_stages.py
Expect:  the report's single runs on 568 photos: 95.95, 95.95, 96.48, 97.01 and 94.72 % top-1.
Differs: four augmented views of each photo instead of a new one in every epoch, so that features can be cached.
"""

base = 'configs/resnet50_flower.py'
grid = {'model.frozen_stages': [0, 1, 2, 3, 'all']}
seeds = [0, 1, 2]
# looks = [3, 5, 8]  # if seeds may be added after a verdict: before the first start, numbers of seeds to judge at
overrides = {'train_dataloader.dataset.views': 4}  # the same for all, also where nothing is frozen
