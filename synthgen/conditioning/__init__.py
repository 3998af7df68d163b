"""From a spec to what the backend sees: place, masks, sketch, control images, augmentation."""
