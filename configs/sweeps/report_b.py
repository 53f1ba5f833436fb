"""Report B's twelve cells: three networks, two or three frozen stages, fixed or mixed augmentation; three repeats.

Run:     python tools/sweep.py configs/sweeps/report_b.py
Expect:  62.00-80.43 % validation top-1 in the report's cells.
"""

grid = {
    'config': [
        'configs/resnet101_report_b_flower.py',
        'configs/resnet152_report_b_flower.py',
        'configs/vgg11_report_b_flower.py',
    ],
    'model.frozen_stages': [2, 3],
    # A factor with named settings: each sets any number of keys.
    'augmentation': {
        'fixed': {'train_dataloader.dataset.views': 1},  # one view of a photo, drawn once
        'mixed': {'train_dataloader.dataset.views': None},  # a new one each epoch
    },
}
seeds = [0, 1, 2]
