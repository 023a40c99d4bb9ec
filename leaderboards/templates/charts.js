// Charts: drawn when they come near the window. `ast` interprets expressions, so that the page may forbid eval.
const specs = JSON.parse(document.getElementById("charts").textContent);
const draw = async (figure) => {
  const spec = { ...specs[figure.id], width: "container", autosize: { type: "fit-x", contains: "padding" } };
  figure.classList.add("ready");
  try {
    await window.vegaEmbed(figure.querySelector(".live"), spec, {
      actions: false,
      ast: true,
      defaultStyle: false,
      renderer: "svg",
      tooltip: { disableDefaultStyle: true },
    });
  } catch (error) {
    figure.classList.remove("ready"); // the still image says the same
    console.error(error);
  }
};
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries.filter((seen) => seen.isIntersecting)) {
      near.unobserve(entry.target);
      draw(entry.target);
    }
  },
  { rootMargin: "400px" },
);
for (const figure of document.querySelectorAll("figure[id]")) near.observe(figure);
