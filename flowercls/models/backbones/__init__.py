"""Adapters to networks of other libraries; where their stages end stands in ``flowercls/models/cut_points.py``."""
