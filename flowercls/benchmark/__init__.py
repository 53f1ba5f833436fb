"""Speed side by side: mmpretrain's own training, ours, and a bare loop on tensors, in turns on one machine."""
