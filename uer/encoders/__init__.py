"""Encoders. The table maps `--encoder` names to classes without importing torch."""

ENCODERS = {
    "transformer": "uer.encoders.transformer:TransformerEncoder",
    "rnn": "uer.encoders.recurrent:RnnEncoder",
    "lstm": "uer.encoders.recurrent:LstmEncoder",
    "gru": "uer.encoders.recurrent:GruEncoder",
    "birnn": "uer.encoders.recurrent:BirnnEncoder",
    "bilstm": "uer.encoders.recurrent:BilstmEncoder",
    "bigru": "uer.encoders.recurrent:BigruEncoder",
    "gatedcnn": "uer.encoders.gatedcnn:GatedcnnEncoder",
    "dual": "uer.encoders.dual:DualEncoder",
}
