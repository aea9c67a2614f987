"""`gitstead demo`: three example apps on a platform of their own, in one folder that can be removed again."""
