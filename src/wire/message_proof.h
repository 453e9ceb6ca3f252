#ifndef WIRE_MESSAGE_PROOF_H
#define WIRE_MESSAGE_PROOF_H
/* message_proof - the header `Isochrone-Signature: ed25519:<128 digits>`, by which a message of the
 * bus that comes over HTTP shows whose it is: the sender's signature over the kind of the message
 * and its bytes. On NATS the server holds who may say what; over HTTP nobody does, and a report has
 * no signature of its own.
 *
 * It says nothing about time: that a message is new is judged by its epoch and seq, so one that is
 * heard twice does nothing, whoever says it. It says nothing about whom it is for, either: what is
 * said on the bus is for everybody. */
#include "wire/signature.h"

#define MESSAGE_PROOF_DOMAIN    "isochrone/bus/1"
#define MESSAGE_PROOF_HEADER    "isochrone-signature"
#define MESSAGE_PROOF_TEXT_SIZE 137u /* with the zero at its end */

/* The value of the header for these bytes, by who sends them. kind: the last word of the path they
 * are posted to ("report"). */
void message_proof_write(const struct signature_secret *secret, struct span kind, struct span body,
                         char ret_text[MESSAGE_PROOF_TEXT_SIZE]);
/* ERR_PARSE: text, the value of the header, has not the form above. */
MUST_USE enum err message_proof_parse(struct span text, struct signature *ret_signature);
/* Did the owner of this key say it? 60 us. */
bool message_proof_is_good(const struct signature_key *key, struct span kind, struct span body,
                           const struct signature *signature);
#endif
