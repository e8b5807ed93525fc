"""The worker: the only place that imports Faust."""
