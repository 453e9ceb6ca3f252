#ifndef ROLE_GATEWAY_MODELS_H
#define ROLE_GATEWAY_MODELS_H
/* models - OpenAI's list of models: those that some node has, under the names clients use. */
struct admin_call;

void models_list(struct admin_call *call); /* GET /v1/models */
void models_one(struct admin_call *call);  /* GET /v1/models/{id}; an alias is answered too */
#endif
