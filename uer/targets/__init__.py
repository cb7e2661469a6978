"""Targets: heads and their losses. The table maps `--target` names to classes without importing torch."""

TARGETS = {
    "mlm": "uer.targets.mlm:MlmTarget",
    "sp": "uer.targets.sp:SpTarget",
    "lm": "uer.targets.lm:LmTarget",
    "bilm": "uer.targets.bilm:BilmTarget",
    "cls": "uer.targets.cls:ClsTarget",
    "rtd": "uer.targets.rtd:RtdTarget",
    "mts": "uer.targets.mts:MtsTarget",
    "csp": "uer.targets.csp:CspTarget",
    "pert": "uer.targets.pert:PertTarget",
    "polarity": "uer.targets.sentiment:PolarityTarget",
    "pair": "uer.targets.sentiment:PairTarget",
    "soft": "uer.targets.distillation:SoftTarget",
    "cosine": "uer.targets.distillation:CosineTarget",
    "states": "uer.targets.distillation:StatesTarget",
    "scores": "uer.targets.distillation:ScoresTarget",
    "attention": "uer.targets.distillation:AttentionTarget",
    "contrast": "uer.targets.contrast:ContrastTarget",
    "students": "uer.targets.students:StudentsTarget",
}
