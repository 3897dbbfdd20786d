"""Training loops: pre-training without labels, fine-tuning with few."""
