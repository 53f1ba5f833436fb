"""Two settings with two seeds each, of the tiny network."""

base = 'tiny_flower.py'
grid = {'model.frozen_stages': [0, 'all']}
seeds = [0, 1]
overrides = {'train_cfg.max_epochs': 1, 'feature_cache.views': 0}
