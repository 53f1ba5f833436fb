"""Augmentation "fixed" of report B: one view of each photo, drawn once, by the transforms of flower_224_report_b.py.

What the report means by "mixed" and "fixed" is ours.
"""

_base_ = ['flower_224_report_b.py']

train_dataloader = dict(dataset=dict(views=1))  # epoch e shows view e mod `views`
