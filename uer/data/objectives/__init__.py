"""Objectives by data processor; a literal table, so that names cost no import."""

OBJECTIVES = {
    "bert": "uer.data.objectives.bert:Bert",
    "lm": "uer.data.objectives.lm:Lm",
    "mlm": "uer.data.objectives.mlm:Mlm",
    "bilm": "uer.data.objectives.bilm:Bilm",
    "albert": "uer.data.objectives.albert:Albert",
    "mt": "uer.data.objectives.mt:Mt",
    "t5": "uer.data.objectives.t5:T5",
    "cls": "uer.data.objectives.cls:Cls",
    "prefixlm": "uer.data.objectives.prefixlm:PrefixLm",
    "gsg": "uer.data.objectives.gsg:Gsg",
    "bart": "uer.data.objectives.bart:Bart",
    "cls_mlm": "uer.data.objectives.cls:ClsMlm",
    "skep": "uer.data.objectives.skep:Skep",
    "electra": "uer.data.objectives.electra:Electra",
    "ernie_health": "uer.data.objectives.electra:ErnieHealth",
    "structbert": "uer.data.objectives.structbert:StructBert",
    "pert": "uer.data.objectives.pert:Pert",
}
