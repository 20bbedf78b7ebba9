/* Published weights as dots, multiply-adds against top-1, labels where there is room for them. */

const SVG = "http://www.w3.org/2000/svg";
const [LEFT, TOP, RIGHT, BOTTOM] = [32, 28, 16, 40]; // margins in pixels
const [LINE, DOT] = [14, 5]; // a label's height, a dot's radius

export function make(tag, attributes = {}, ...inside) {
  const node = tag.startsWith("svg:") ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...inside);
  return node;
}

/* Draw into `box` at its width; each model gets its `dots`. */
export function scatter(box, models, toggle) {
  const [width, height] = [box.clientWidth, Math.max(380, box.clientWidth / 2)];
  const every = models.flatMap((model) => model.weights.filter(({ top1 }) => top1 !== null).map((row) => ({ model, ...row })));
  const most = Math.ceil(Math.max(...every.map(({ model }) => model.macs)) / 5e9) * 5;
  const tops = every.map(({ top1 }) => top1);
  const [low, high] = [Math.floor(Math.min(...tops)), Math.ceil(Math.max(...tops))];
  const x = (gmacs) => LEFT + (gmacs / most) * (width - LEFT - RIGHT);
  const y = (top1) => height - BOTTOM - ((top1 - low) / (high - low)) * (height - TOP - BOTTOM);
  const points = every.map((row) => ({ ...row, x: x(row.model.macs / 1e9), y: y(row.top1) })).sort((a, b) => a.y - b.y);
  points.forEach((point, index) => moveAside(point, points.slice(0, index)));
  const text = (words, place) => make("svg:text", place, words);
  const grid = [
    ...steps(0, most, 5).map((value) => text(value, { x: x(value), y: height - BOTTOM + 16, "text-anchor": "middle" })),
    ...steps(low + (low % 2), high, 2).flatMap((value) => [
      make("svg:line", { x1: LEFT, x2: width - RIGHT, y1: y(value), y2: y(value) }),
      text(value, { x: LEFT - 8, y: y(value) + 4, "text-anchor": "end" }),
    ]),
    text("GMACs an image", { x: width - RIGHT, y: height - 6, "text-anchor": "end" }),
    text("top-1 %", { x: 2, y: 12 }),
  ];
  for (const model of models) model.dots = points.filter((point) => point.model === model).map((point) => dot(point, toggle));
  const about = { width, height, role: "group", "aria-label": "Published weights: multiply-adds and top-1 accuracy" };
  const dots = points.map(({ model, tag }) => model.dots.find((node) => node.dataset.tag === tag));
  box.replaceChildren(make("svg:svg", about, ...grid, ...labels(points, width, height), ...dots));
}

/* Move a dot to the right until it covers none of the others, which would not be clickable. */
function moveAside(point, others) {
  while (others.some(({ x, y }) => Math.hypot(point.x - x, point.y - y) < 2 * DOT)) point.x += 1;
}

function steps(from, to, by) {
  return Array.from({ length: Math.floor((to - from) / by) + 1 }, (_, index) => from + index * by);
}

function dot({ model, tag, top1, x, y }, toggle) {
  const said = `${model.name}.${tag}: ${(model.macs / 1e9).toFixed(2)} GMACs, top-1 ${top1} %`;
  const about = { cx: x, cy: y, r: DOT, class: "dot", role: "button", tabindex: 0, "aria-label": said, "data-tag": tag };
  const node = make("svg:circle", about, make("svg:title", {}, said));
  node.onclick = () => toggle(model.name);
  node.onkeydown = (event) => [" ", "Enter"].includes(event.key) && (event.preventDefault(), toggle(model.name));
  return node;
}

function touch([left, top, right, bottom], other) {
  return left < other[2] && other[0] < right && top < other[3] && other[1] < bottom;
}

/* A label a model, at its best weights: the nearest place that touches no dot, no label and no border; else none. */
function labels(points, width, height) {
  const pen = document.createElement("canvas").getContext("2d");
  pen.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const taken = points.map(({ x, y }) => [x - DOT - 2, y - DOT - 2, x + DOT + 2, y + DOT + 2]);
  return points.filter(({ model }, index) => points.findIndex((other) => other.model === model) === index).flatMap((point) => {
    const wide = pen.measureText(point.model.name).width + 4;
    for (let far = DOT + 4; far < 160; far += 4) {
      for (const turn of [0, 4, 2, 6, 1, 3, 5, 7]) {
        const [dx, dy] = [Math.cos((turn * Math.PI) / 4), -Math.sin((turn * Math.PI) / 4)];
        const [x, y] = [point.x + dx * (far + wide / 2), point.y + dy * (far + LINE / 2)];
        const spot = [x - wide / 2, y - LINE / 2, x + wide / 2, y + LINE / 2];
        const inside = spot[0] > LEFT && spot[1] > 0 && spot[2] < width && spot[3] < height - BOTTOM;
        if (!inside || taken.some((other) => touch(spot, other))) continue;
        taken.push(spot);
        const lead = { x1: point.x, y1: point.y, x2: point.x + dx * far, y2: point.y + dy * far, class: "lead" };
        const name = make("svg:text", { x, y: y + 4, "text-anchor": "middle", class: "label" }, point.model.name);
        return far > DOT + 8 ? [make("svg:line", lead), name] : [name];
      }
    }
    return [];
  });
}
