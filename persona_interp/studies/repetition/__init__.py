"""Does stating an opinion more often make a model agree more, and through which heads?"""
