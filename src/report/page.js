(function () {
  'use strict';
  var readout = document.createElement('div');
  readout.id = 'readout';
  document.body.appendChild(readout);

  /* The text of a shape follows the pointer at once; the browser's own would come late and cover the shape. */
  document.querySelectorAll('figure svg title').forEach(function (title) {
    var shape = title.parentNode;
    shape.dataset.text = title.textContent;
    title.remove();
  });
  document.addEventListener('pointermove', function (event) {
    var shape = event.target.closest && event.target.closest('[data-text]');
    if (!shape) { readout.className = ''; return; }
    readout.textContent = shape.dataset.text;
    readout.className = 'on';
    var wide = readout.offsetWidth, high = readout.offsetHeight;
    var left = Math.min(event.clientX + 14, window.innerWidth - wide - 8);
    var top = event.clientY - high - 12;
    readout.style.left = Math.max(8, left) + 'px';
    readout.style.top = (top < 8 ? event.clientY + 18 : top) + 'px';
  });
  document.addEventListener('pointerleave', function () { readout.className = ''; });

  function save(name, type, text) {
    var link = document.createElement('a');
    link.href = URL.createObjectURL(new Blob([text], { type: type }));
    link.download = name;
    link.click();
    setTimeout(function () { URL.revokeObjectURL(link.href); }, 1000);
  }
  function svgOf(figure) {
    var copy = figure.querySelector('svg').cloneNode(true);
    copy.querySelectorAll('[data-text]').forEach(function (shape) {
      var title = document.createElementNS(copy.namespaceURI, 'title');
      title.textContent = shape.dataset.text;
      shape.appendChild(title);
      shape.removeAttribute('data-text');
    });
    var style = document.createElementNS(copy.namespaceURI, 'style');
    style.textContent = document.getElementById('picture-style').textContent;
    copy.insertBefore(style, copy.firstChild);
    return new XMLSerializer().serializeToString(copy);
  }
  function csvOf(figure) {
    return Array.from(figure.querySelectorAll('table.data tr')).map(function (row) {
      return Array.from(row.cells).map(function (cell) {
        var text = cell.textContent;
        return /[",\n]/.test(text) ? '"' + text.replace(/"/g, '""') + '"' : text;
      }).join(',');
    }).join('\n') + '\n';
  }
  document.querySelectorAll('figure').forEach(function (figure) {
    var tools = document.createElement('div');
    tools.className = 'tools';
    [['SVG', 'image/svg+xml', svgOf], ['CSV', 'text/csv', csvOf]].forEach(function (form) {
      var button = document.createElement('button');
      button.type = 'button';
      button.textContent = form[0];
      button.title = 'Save as ' + form[0];
      button.addEventListener('click', function () {
        save(figure.id + '.' + form[0].toLowerCase(), form[1], form[2](figure));
      });
      tools.appendChild(button);
    });
    figure.appendChild(tools);
  });
})();
