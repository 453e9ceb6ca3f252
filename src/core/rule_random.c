/* rule_random - to be written. */
typedef int not_empty_yet;
