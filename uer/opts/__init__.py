"""From typed words to options: flags generated from dataclasses, both dialects of UER, compatibility."""
