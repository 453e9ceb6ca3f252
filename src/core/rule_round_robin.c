/* rule_round_robin - to be written. */
typedef int not_empty_yet;
