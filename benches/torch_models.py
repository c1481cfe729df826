"""The models of the benches in transformers: 6 blocks (T5 with 6 in each stack), 384 wide."""

import transformers as tf

VOCABULARY = 4096


def shaped(family, length):
    """A model with drawn weights for rows of `length` tokens."""
    if family == "bert":
        return tf.BertForMaskedLM(tf.BertConfig(
            vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
            intermediate_size=1536, max_position_embeddings=length))
    if family == "gpt2":
        return tf.GPT2LMHeadModel(tf.GPT2Config(
            vocab_size=VOCABULARY, n_embd=384, n_layer=6, n_head=6, n_positions=length))
    if family == "llama":
        return tf.LlamaForCausalLM(tf.LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=384, num_hidden_layers=6, num_attention_heads=6,
            num_key_value_heads=2, intermediate_size=1024, max_position_embeddings=length))
    if family == "t5":
        return tf.T5ForConditionalGeneration(tf.T5Config(
            vocab_size=VOCABULARY, d_model=384, d_kv=64, num_heads=6, d_ff=1536, num_layers=6, pad_token_id=0,
            decoder_start_token_id=0))
    raise SystemExit(f"no peer for {family}")
