"""Every choice of a run, drawn before anything is painted: plan, prompts, missed defects."""
