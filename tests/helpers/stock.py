"""mmengine's own training of a tiny network, and how it goes on: what the faults are tried on to see that they work."""

import os

import torch
from mmengine.dataset import DefaultSampler
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Network(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 2)

    def forward(self, inputs, label, mode='tensor'):
        scores = self.layer(inputs)
        return {'loss': torch.nn.functional.cross_entropy(scores, label)} if mode == 'loss' else [scores]


class Accuracy(BaseMetric):
    """Better with every epoch, so that each checkpoint is a new best one."""

    epochs = 0

    def process(self, data_batch, data_samples):
        self.results.append(len(data_samples))

    def compute_metrics(self, results):
        Accuracy.epochs += 1
        return {'acc': Accuracy.epochs}


class Points(torch.utils.data.Dataset):
    def __len__(self):
        return 16

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        return {'inputs': torch.randn(4, generator=generator), 'label': index % 2}


def train(folder, resume=False):
    """Three epochs, with the best and the last two checkpoints kept; its files may be loaded as it wrote them."""
    load = torch.load
    torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, 'weights_only': False})
    loader = dict(batch_size=8, dataset=Points(), sampler=dict(type=DefaultSampler, shuffle=True))
    loader['collate_fn'] = dict(type='default_collate')
    Runner(
        Network(),
        str(folder),
        train_dataloader=loader,
        val_dataloader={**loader, 'sampler': dict(type=DefaultSampler, shuffle=False)},
        train_cfg=dict(by_epoch=True, max_epochs=3),
        val_cfg=dict(),
        val_evaluator=[Accuracy()],
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1, momentum=0.9)),
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1, save_best='acc', max_keep_ckpts=2)),
        randomness=dict(seed=0),
        resume=resume,
        experiment_name=f'stock{os.getpid()}',
    ).train()
    return 0
