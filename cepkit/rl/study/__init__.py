"""What a trained agent earns and how it looks: evaluation, reports, figures, the maze lab."""
