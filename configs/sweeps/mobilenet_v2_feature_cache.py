"""What cached features cost in accuracy: float32 without them, bfloat16 with 4, 8 or all views, three seeds.

Run:     python tools/sweep.py configs/sweeps/mobilenet_v2_feature_cache.py
Expect:  92.62, 92.91, 92.62 and 92.62 % top-1, not told apart; the table is in configs/README.md.
Differs: three frozen stages; no mixup and cutmix, which need the photos, and so no NormStatisticsHook.
"""

base = 'configs/mobilenet_v2_flower.py'
grid = {
    'features': {
        'fp32': {'model.precision': 'fp32', 'feature_cache.views': 0},
        'bf16-4-views': {'model.precision': 'bf16', 'feature_cache.views': 4},
        'bf16-8-views': {'model.precision': 'bf16', 'feature_cache.views': 8},
        'bf16-all-views': {'model.precision': 'bf16', 'feature_cache.views': 'all'},
    }
}
seeds = [0, 1, 2]
overrides = {
    'model.frozen_stages': 3,
    'model.train_cfg': None,
    'custom_hooks': None,
    'train_cfg.max_epochs': 12,
}
