"""The routes: what each takes and answers, by the API that it is of."""
