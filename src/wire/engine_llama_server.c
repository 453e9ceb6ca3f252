/* engine_llama_server - to be written. */
typedef int not_empty_yet;
