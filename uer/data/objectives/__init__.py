"""Objectives by data processor; a literal table, so that names cost no import."""

OBJECTIVES = {
    "bert": "uer.data.objectives.bert:Bert",
    "lm": "uer.data.objectives.lm:Lm",
    "mlm": "uer.data.objectives.mlm:Mlm",
    "cls": "uer.data.objectives.cls:Cls",
}
