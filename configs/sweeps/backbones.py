"""Which backbone: report A's table 3, with three seeds.

Run:     python tools/sweep.py configs/sweeps/backbones.py
Expect:  the report's single runs on 568 photos: 96.13, 97.18, 97.71, 95.42 and 95.60 % top-1.
"""

grid = {
    'config': [
        'configs/resnet50_flower.py',
        'configs/resnext50_flower.py',
        'configs/densenet121_flower.py',
        'configs/mobilenet_v3_flower.py',
        'configs/inception_v3_flower.py',
    ]
}
seeds = [0, 1, 2]
