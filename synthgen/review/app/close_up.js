// What a picture of the grid shows: its labels and what lies around them, not the whole image.
// FiftyOne's script asks for it with the overlays of a picture and its state; the corners that are
// returned, as fractions of width and height, are the ends of what is shown.
window.synthgenCloseUp = (overlays, state) => {
  const CONTEXT = 2.5; // sides of the labels' box
  const LEAST_PX = 48; // of the image
  const boxes = overlays.map((one) => one.label?.bounding_box).filter(Boolean);
  if (!boxes.length) return [[0, 0], [1, 1]]; // a good image
  const [width, height] = state.dimensions;
  const span = (axis) => {
    const from = Math.min(...boxes.map((box) => box[axis]));
    const to = Math.max(...boxes.map((box) => box[axis] + box[axis + 2]));
    return { middle: (from + to) / 2, fraction: to - from };
  };
  const [x, y] = [span(0), span(1)];
  const longest = Math.max(x.fraction * width, y.fraction * height);
  const side = Math.max(CONTEXT * longest, LEAST_PX);
  const ends = (one, length) => {
    const size = Math.min(1, side / length);
    const from = Math.min(Math.max(0, one.middle - size / 2), 1 - size);
    return [from, from + size];
  };
  const [[left, right], [top, bottom]] = [ends(x, width), ends(y, height)];
  return [[left, top], [right, bottom]];
};
