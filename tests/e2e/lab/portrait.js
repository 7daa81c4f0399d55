// Drawn people and a drawn slide, for the picture in the README: no photograph of anybody.
// A classic script, so that it can also be put into a page before its own.
(() => {
  const PEOPLE = [
    { wall: ['#d9c7b2', '#a98f76'], skin: '#e3b08a', hair: '#4a2f21', shirt: '#2f6f6a' },
    { wall: ['#9db7c9', '#5f7f95'], skin: '#8a5a3b', hair: '#1c1614', shirt: '#d8a13c' },
    { wall: ['#c9d3b8', '#7f9070'], skin: '#f0c9a6', hair: '#b5763a', shirt: '#5a4a86' },
    { wall: ['#cdb5c4', '#8a6a80'], skin: '#c98d63', hair: '#2a1d18', shirt: '#3d6ea8' },
    { wall: ['#d8d2c4', '#9c9484'], skin: '#f3d3b8', hair: '#6d6d70', shirt: '#8c3b3b' },
    { wall: ['#a9c7c0', '#5f8a80'], skin: '#6e4630', hair: '#120e0d', shirt: '#e6e1d6' },
  ];

  function canvasOf(width, height) {
    const canvas = document.createElement('canvas');
    canvas.width = width;
    canvas.height = height;
    return [canvas, canvas.getContext('2d', { alpha: false })];
  }

  function stream(canvas, draw, framesPerSecond) {
    let frame = 0;
    draw(frame);
    setInterval(() => draw((frame += 1)), 1000 / framesPerSecond);
    return canvas.captureStream(framesPerSecond).getVideoTracks()[0];
  }

  globalThis.portrait = (index) => {
    const { wall, skin, hair, shirt } = PEOPLE[index % PEOPLE.length];
    const [canvas, pen] = canvasOf(1280, 720);
    const oval = (x, y, w, h, colour) => {
      pen.fillStyle = colour;
      pen.beginPath();
      pen.ellipse(x, y, w, h, 0, 0, Math.PI * 2);
      pen.fill();
    };
    return stream(
      canvas,
      (frame) => {
        const sway = Math.sin(frame / 20 + index) * 6;
        const light = pen.createLinearGradient(0, 0, 1280, 720);
        light.addColorStop(0, wall[0]);
        light.addColorStop(1, wall[1]);
        pen.fillStyle = light;
        pen.fillRect(0, 0, 1280, 720);
        pen.fillStyle = 'rgb(255 255 255 / 18%)';
        pen.fillRect(index % 2 ? 880 : 120, 70, 250, 330);
        const x = 640 + sway;
        oval(x, 800, 330, 290, shirt);
        pen.fillStyle = skin;
        pen.fillRect(x - 55, 440, 110, 110);
        if (index % 2) oval(x, 350, 165, 220, hair);
        oval(x, 330, 130, 165, skin);
        pen.fillStyle = hair;
        pen.beginPath();
        pen.ellipse(x, 255, 145, 110, 0, Math.PI, Math.PI * 2);
        pen.fill();
        oval(x - 48, 335, 9, 11, '#2b211d');
        oval(x + 48, 335, 9, 11, '#2b211d');
        pen.strokeStyle = '#7d4335';
        pen.lineWidth = 7;
        pen.beginPath();
        pen.arc(x, 385, 42, 0.25, Math.PI - 0.25);
        pen.stroke();
      },
      12,
    );
  };

  globalThis.slide = () => {
    const [canvas, pen] = canvasOf(1600, 900);
    return stream(
      canvas,
      (frame) => {
        pen.fillStyle = '#fbfaf6';
        pen.fillRect(0, 0, 1600, 900);
        pen.fillStyle = '#12373a';
        pen.font = '600 66px sans-serif';
        pen.fillText('The overhand knot', 110, 150);
        pen.fillStyle = '#3c5557';
        pen.font = '38px sans-serif';
        ['One loop, one pass', 'Chiral: left and right differ', 'Three crossings: the trefoil'].forEach((line, i) => {
          pen.fillStyle = '#0c7a70';
          pen.fillRect(112, 262 + i * 82, 14, 14);
          pen.fillStyle = '#3c5557';
          pen.fillText(line, 150, 284 + i * 82);
        });
        // A trefoil: x = sin t + 2 sin 2t, y = cos t - 2 cos 2t; where it passes under, there is a gap.
        const at = (t) => [1130 + 110 * (Math.sin(t) + 2 * Math.sin(2 * t)), 480 - 110 * (Math.cos(t) - 2 * Math.cos(2 * t))];
        const part = (from, to, width, colour) => {
          pen.strokeStyle = colour;
          pen.lineWidth = width;
          pen.lineCap = 'butt';
          pen.beginPath();
          for (let i = 0; i <= 40; i += 1) pen.lineTo(...at(from + ((to - from) * i) / 40));
          pen.stroke();
        };
        for (let i = 0; i < 24; i += 1) {
          const from = (i * Math.PI) / 12;
          const over = -Math.sin(3 * (from + Math.PI / 24)) > 0;
          if (!over) part(from - 0.02, from + Math.PI / 12 + 0.02, 26, '#0c7a70');
        }
        for (let i = 0; i < 24; i += 1) {
          const from = (i * Math.PI) / 12;
          const over = -Math.sin(3 * (from + Math.PI / 24)) > 0;
          if (over) part(from, from + Math.PI / 12, 48, '#fbfaf6');
          if (over) part(from - 0.03, from + Math.PI / 12 + 0.03, 26, '#0c7a70');
        }
        pen.fillStyle = frame % 2 ? '#fbfaf6' : '#fafaf6';
        pen.fillRect(1590, 890, 4, 4);
      },
      5,
    );
  };
})();
